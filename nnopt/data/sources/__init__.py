"""Where data sets come from: one source a file, each giving a `Raw`; none of them imports torch."""
