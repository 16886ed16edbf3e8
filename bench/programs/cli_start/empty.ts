/** Nothing: what a start costs at least. */
