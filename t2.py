import sys; sys.path.insert(0,'tests/commai')
import time, numpy as np
import dialogues
from dialogues import *
from aexp_torch.commai.tasks import navigation as n
from aexp_torch.commai.grid_world import GridWorld
def show(k,E,L):
    make=lambda: k(GridWorld()); make.__name__=k.__name__
    t=time.time(); said,rew=replay(make,E,L); ok=said[:len(E)-5]==E[:len(E)-5]; print(k.__name__, ok, f"{time.time()-t:.1f}s", len(rew.rstrip())-1)
    if not ok: print(' E|'+said); print(' L|'+L)
show(n.TurningTask,"Turn right.             You turned right, you are now facing east. Turn","           I turn right.")
show(n.MovingTask,"Move forward.               You moved. Move","             I move forward.")
show(n.MovingRelativeTask,"Move right.             You turned right, you are now facing east.               You moved. Move","           I turn right.                                          I move forward.")
show(n.MovingAbsoluteTask,"You are facing north, move east.             You turned right, you are now facing east.               You moved. You","                                I turn right.                                          I move forward.")
show(n.PickUpTask,"You have an avocado in front of you. Pick up the avocado.                      You picked up the avocado. You","                                                         I pick up the avocado.")
show(n.GivingTask,'I gave you an asparagus. Give it back to me by saying "I give you an asparagus".                        You gave me an asparagus. I ga','                                                                                I give you an asparagus.')
show(n.PickUpAroundAndGiveTask,"There is an avocado north from you. Pick it up and give it to me.                      You picked up the avocado.                      You gave me an avocado. Ther","                                                                 I pick up the avocado.                          I give you an avocado.")
show(n.CountingInventoryTask,"How many pears do you have?  Correct! How","                           0.")
show(n.CountingInventoryTask,"How many pears do you have?  you failed! You have 0 pears.","                           3.")
show(n.LookTask,"Look to the north, you are currently facing north.       Congratulations! You are looking in the right direction. Look","                                                  I look.")
show(n.LookAroundTask,"Look around. You are facing north.       3 directions to go.       2 directions to go.       1 directions to go.       Congratulations! Look","                                  I look.I turn left.       I look.I turn left.       I look.I turn left.       I look.")
show(n.FindObjectAroundTask,"Pick the avocado next to you.                      Well done! Pick","                             I pick up the avocado.")
show(n.TurningTask,"Turn right."+" "*61+"too bad, time out! Turn","")
show(n.CountingInventoryGivingTask,"How many cucumbers do you have?  nice work. I gave you a cucumber. How many cucumbers do you have now?    good job. Now give the cucumber back to me.                      Good! You gave me a cucumber. How many cucumbers do you have now?     congratulations. How","                               0.                                                                     one.                                           I give you a cucumber.                                                                 zero.")
