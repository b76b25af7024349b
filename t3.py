import sys; sys.path.insert(0,'tests/commai')
from dialogues import *
from aexp_torch.commai.sessions import BYTES
from aexp_torch.commai.tasks import mini as m
import random, statistics as st
for k in (m.TaskSet0,m.TaskSet1,m.TaskSet2,m.TaskSet3,m.TaskSet4,m.TaskSet5):
    t=k(); t.rng=random.Random(0); r=[];w=[];bad=0;anyt=0;nott=0
    for _ in range(3000):
        q,a=t.ask(); s=q.split('verify: ')[1][:-1]; (r if a=='true.' else w).append(len(s)); anyt+='anything' in q; nott+='not ' in q
    print(k.__name__, min(r),max(r),st.median(r),'|',min(w),max(w),st.median(w), anyt/3000, nott/3000, q)
s=sessions(m.TaskSet2,4,BYTES); s.step(None); print(s.tasks[0].answer)
q=''.join(map(chr,s.channels._out[0,:s.channels.tail[0]]))
s=sessions(m.TaskSet2,4,BYTES); print(*talk(s,' '*len(q)+'true.',110),sep='\n')
