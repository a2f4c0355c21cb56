import sys,numpy as np,convlens as cl,time
from convlens.cli.bench._case import _pool_case
from convlens.graph import parse_problem
from convlens.program import compile, Entry
cl.set_num_threads(1)
c=_pool_case(parse_problem(sys.argv[1]))
prog=compile(c.graph,{"r":Entry(tuple(c.feeds),("y",))},dtype='float32')
t0=time.time();k=0;best=9
while time.time()-t0<float(sys.argv[2]):
  s=time.perf_counter();prog.run("r",c.feeds);best=min(best,time.perf_counter()-s);k+=1
print(k,'best ms',best*1e3)
