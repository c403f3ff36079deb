"""As much of lmms-eval 0.7.3 as a model class of a plug-in meets, in lmms-eval's own names, with nothing behind it."""
