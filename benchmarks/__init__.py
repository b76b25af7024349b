"""What does it cost, beside what others cost? `python -m benchmarks` asks; `questions/` has one file per question.

Every figure is measured beside what it is compared with: contestants take turns in one run, and medians are compared. A
contestant is a function that works and calls `turns(units)` after every step; it runs in a process of its own. To add
one, write it in the question's file and name it in the question's `contests()`. `learning` asks what agents learn.
"""
