# many files into a shadow folder, a log and a benchmark out of it
TARGETS.append("plain.txt")


rule many:
    output:
        [f"many/file {i}.txt" for i in range(25)],
    localrule: True
    shell:
        "touch {output:q}"


rule plain:
    input:
        rules.many.output,
    output:
        "plain.txt",
    log:
        "plain.log",
    benchmark:
        "time.bench.tsv"
    shadow:
        "minimal"
    shell:
        "ls many > scratch.txt; wc -l < scratch.txt > {output}; echo logged > {log}"
