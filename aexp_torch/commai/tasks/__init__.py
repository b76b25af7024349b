"""The tasks, by where they come from: one file per subject.

A task is a short class that shows its grammar: what is asked, and which answer is right.
To add one: a subclass of `Task` or of one of the forms in `forms.py`, in the file of its subject.
"""
