import sys; sys.path.insert(0,'tests/commai')
import time, numpy as np
from dialogues import *
from aexp_torch.commai.sessions import BYTES
from aexp_torch.commai.tasks import micro as m
def count(kind, seed, learner):
    s=sessions(kind, seed, BYTES); name=kind.__name__
    sym,_=s.step(None); n=0; mx=0
    while not s.results.tasks.get(name) or s.results.tasks[name].finished<1:
        mx=max(mx,int(s.asked[0]))
        heard=np.frombuffer(learner(chr(sym[0]),s.tasks[0]).encode('latin-1'),np.uint8)
        sym,r=s.step(heard); n+=1
    return mx+1, n, s.results.tasks[name].solved
print('wrong', {k.__name__: count(k,1,lambda c,t:'\x01') for k in (m.Micro1Task,m.Micro2Task,m.Micro3Task,m.Micro4Task,m.Micro5Sub1Task,m.Micro5Sub3Task)})
print('right', {k.__name__: count(k,1,lambda c,t: chr(t.sessions.drills.right[0,t.sessions.drills.place[0]]) if t.sessions.drills.active[0] else t.answer) for k in (m.Micro1Task,m.Micro2Task,m.Micro3Task,m.Micro4Task,m.Micro5Sub1Task)})
s=sessions(m.Micro5Sub3Task,5,BYTES); print(*talk(s," 9   8   9   8  "*3,48),sep='\n')
s=sessions(m.Micro5Sub1Task,5,BYTES); print(*talk(s,"9 9 8 9 9 9 9 0",16),sep='\n')
from aexp_torch.commai.schedulers import *
for kind in (m.Micro1Task,m.Micro4Task,m.Micro5Sub1Task,m.Micro5Sub3Task,m.Micro5Sub12Task):
    N=256
    S=Sessions([SequentialTaskScheduler([kind()]) for _ in range(N)],BYTES,list(range(N)))
    rng=np.random.default_rng(0); S.step(None); xs=rng.integers(32,127,(500,N)).astype(np.uint8)
    t=time.time()
    for x in xs: S.step(x)
    print(kind.__name__, f"{500*N/(time.time()-t):,.0f} symbols/s")
