import sys; sys.path.insert(0,'tests/commai')
from dialogues import *
from aexp_torch.commai.tasks import navigation as n
from aexp_torch.commai.grid_world import GridWorld
E="How many cucumbers do you have?  nice work. I gave you a cucumber. How many cucumbers do you have now?    good job. Now give the cucumber back to me.                      Good! You gave me a cucumber. How many cucumbers do you have now?     congratulations. How"
L="                               0.                                                                     one.                                           I give you a cucumber.                                                                 zero."
for seed in range(400):
    s=sessions(lambda: n.CountingInventoryGivingTask(GridWorld()), seed)
    said,r=talk(s,L,len(E))
    if "cucumbers do" in said[:22] and 'nice work' in said: print(said); print(r); break
