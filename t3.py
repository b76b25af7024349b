import sys; sys.path.insert(0,'tests/commai')
from dialogues import *
from aexp_torch.commai.tasks import objects as o, counting as c
for k in [getattr(o,n) for n in o.__all__]+[c.SimpleCountingTask]:
    s=sessions(k, 3); s.step(None); t=s.tasks[0]; q=''.join(map(chr,s.channels._out[0,:s.channels.tail[0]]))
    if isinstance(t,o.AllOfTask): a=', '.join(t.answers)+'.'
    elif isinstance(t,o.AnyOfTask): a=t.answers[0]+'.'
    elif hasattr(t,'answer'): a=t.answer
    else: a='yes.' if t.there else 'no.'
    s=sessions(k,3); said,r=talk(s,' '*len(q)+a,len(q)+len(a)+40); print(k.__name__); print('  '+said); print('  '+' '*len(q)+a); print('  '+r)
    s=sessions(k,3); said,r=talk(s,' '*len(q)+'spam.',int(len(q)+100)); print('  '+said)
    s=sessions(k,3); said,r=talk(s,'',520); print('  T '+said[k.max_time//8-3:][:120])
