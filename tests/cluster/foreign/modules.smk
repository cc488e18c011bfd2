# the chain of another file, elsewhere, and a rule of it made to do something else
TARGETS += ["inner/b.count", "named.txt"]


module grouped:
    snakefile:
        "groups.smk"
    prefix:
        "inner"


use rule * from grouped as grouped_*


use rule count from grouped as named with:
    input:
        "inner/b.count",
    output:
        "named.txt",
