/** An empty script: the minimum cost of a start. */
