"""vLLM as a process of the run's own: started for the stages that ask it, stopped before the fit.

Read `policy.py` first, then `process.py`. Must not import training, reflection or anything above `r3v.policies`.
"""
