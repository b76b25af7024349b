import sys; sys.path.insert(0,'tests/commai')
import time, numpy as np
from dialogues import *
from aexp_torch.commai.sessions import BYTES, BITS
from aexp_torch.commai.configuration import scheduler_maker
for p,r in (("commai",BITS),("micro",BYTES),("mini",BYTES),("challenge",BYTES)):
    make=scheduler_maker(p); t=time.time()
    N=256
    S=Sessions([make() for _ in range(N)],r,list(range(N))); t1=time.time()
    rng=np.random.default_rng(0); S.step(None); xs=rng.integers(32,127,(2000,N)).astype(np.uint8)
    t2=time.time()
    for x in xs: S.step(x)
    dt=time.time()-t2
    print(p, len(make().tasks), f"make {t1-t:.2f}s, {2000*N/dt:,.0f} symbols/s, {dt/2000*1e6:.0f} us/step", {k:v.solved for k,v in S.results.tasks.items() if v.solved})
