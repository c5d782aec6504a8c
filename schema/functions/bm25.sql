-- BM25 of a word in a chunk without the word's rarity: how often it stands there, saturating, by the chunk's length; null
-- where it does not. How often is told by its ts_rank with weights of 1: the sum of 1/j^2 for j up to that number, by
-- 1.644934 (pi^2/6, the sum without an end), to within 5%: that sum is short of its end by about 1/(n + 0.5). The rank
-- stands in it once: an inlined function evaluates it as often as its body names it. Its numbers are doubles where they
-- can be: numbers that were counted in decimal on the way took a tenth of search by words.
create or replace function bm25(rank real, tokens integer, mean double precision) returns double precision
language sql immutable parallel safe
return 2.2                                  -- k1 + 1
    / (1 + 1.2                              -- k1
        * (0.25 + 0.75 * (tokens / mean))   -- 1 - b and b
        / (1 / (1.644934 * (1.0001          -- above 1, which the rank of a word that stands very often rounds to
                            - nullif(rank, 0)::double precision)) - 0.5));
