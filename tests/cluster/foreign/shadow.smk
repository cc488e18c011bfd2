rule all:
    input:
        "kept.txt",


rule shade:
    output:
        "kept.txt",
    log:
        "shade.log",
    benchmark:
        "time.bench.tsv"
    shadow:
        "minimal"
    shell:
        "echo scratch > scratch.txt; cat scratch.txt > {output}; echo logged > {log}"
