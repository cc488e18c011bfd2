# the first attempt fails; the second has more memory
TARGETS.append("grown.txt")


rule grow:
    output:
        "grown.txt",
    retries: 2
    resources:
        mem_mb=lambda wildcards, attempt: 300 * attempt,
    shell:
        "test {resources.mem_mb} -ge 600; echo {resources.mem_mb} > {output}"
