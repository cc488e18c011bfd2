module grouped:
    snakefile:
        "groups.smk"
    prefix:
        "inner"


use rule * from grouped as grouped_*


rule all:
    default_target: True
    input:
        "inner/a.count",
        "named.txt",
    localrule: True


use rule count from grouped as named with:
    input:
        "inner/a.count",
    output:
        "named.txt",
