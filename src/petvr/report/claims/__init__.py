"""Each claim of a paper beside what the runs say of it: a verdict, the difference with its interval, the evidence."""
