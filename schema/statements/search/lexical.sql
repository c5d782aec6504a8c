-- name: rank_words
-- Chunks by the words of a question and by their nearness to its vector: candidates of both kinds, each with both scores.
-- Answers, in the order of paths, of each chunk: its similarity; its words' score; how much of what was asked for exactly it has; and, the same
-- in all rows, what the words of the question would be worth together.
--
-- Words are alternatives, each worth its BM25 (k1 1.2, b 0.75, as published); how often a word stands in a chunk is told
-- by ts_rank, which is the sum of 1/j^2 up to that number by 1.644934, to within 5%. A word's rarity is that of its
-- stems in all languages together, and in a language whose stop word it is it counts as being in every document: "the"
-- is not rare because German documents seldom quote it.
--
-- Only chunks with the rarest words are ranked, as many words as make up to ranked_chunks together; while they make less
-- than the limit, more are taken. Words are counted without the filter, the common ones in all collections that may be
-- seen: where too few are left then, and the last column says that there are other words, the caller asks again with all
-- of them. Of what may not be seen nothing is counted, for a score would tell it.
-- A word is all of its stems: taken by themselves, the rare one in Polish would leave no place for the one in English.
-- The prefix_terms of words come after the words, but have ranked_prefix_chunks of their own (with 1,000 over 77,000 German
-- chunks p95 was 38 ms, with 3,000 67 ms). A chunk that has a word and its prefix term has what is worth more; a prefix
-- term is no rarer than its word, though it is looked for in some languages only.
-- Where the nearest chunks are taken too, no word is looked for in more than max_common chunks, in which the best may be
-- missing: a question that has only words that stand nearly everywhere would take half a second over a million chunks.
--
-- The vector of each candidate is looked up by itself: joined, PostgreSQL read all of 105,000 vectors, 36 of 40 ms.
--
-- Asked for exactly are phrases, looked for in up to phrase_candidates chunks that have all their words, and names, which
-- are worth name_weight times as much as the name of the chunk's document. The whole question may be a document's name
-- too, with spaces in it or in their place underscores or hyphens.
--
-- In `weights`, of each lexeme: `n`, the chunks that have it; `token_df`, those that have any lexeme of its word; `df`, what
-- its idf is of; `chunks_before` and `prefix_chunks_before`, those of rarer words, and of rarer words of its kind.
--
-- The numbers are named in schema/search/lexical.py, and part of the text: plans are made for them.
with vector_arm as materialized (
    {{vector_arm}}
), corpus as materialized (
    {{corpus}}
), terms as materialized (
    select * from question_words(:query, :visible::integer[])
), matches as materialized (
    select t.lexeme, c.id, c.document_id, bm25(ts_rank(array[1, 1, 1, 1]::real[], c.lexemes, t.word), c.tokens, corpus.tokens)
    from corpus cross join terms t join chunks c on c.lexemes @@ t.word
    where t.share is null and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))
), counted as (
    select t.*, coalesce(round(t.share * corpus.size), m.n, 0) as n, greatest(corpus.size, max(m.n) over ()) as size
    from corpus cross join terms t
    left join (select lexeme, count(*) as n from matches group by lexeme) m using (lexeme)
), weights as materialized (
    select lexeme, token, token_df, prefix_match, family, word, exact_match, share, n, ln(1 + (size - df + 0.5) / (df + 0.5)) as idf,
           n > 0 and (chunks_before < {{limit}} or chunks_before + token_df <= {{ranked_chunks}}
                     or prefix_match and prefix_chunks_before + token_df <= {{ranked_prefix_chunks}} or :all_words) as looked_for
    from (select *, sum(n) over (order by prefix_match, token_df, token) - token_df as chunks_before,
                 sum(n) over (partition by prefix_match order by token_df, token) - token_df as prefix_chunks_before,
                 least(case when prefix_match then max(token_df) over (partition by family) else token_df end + stopped * size, size) as df
          from (select *, sum(n) over (partition by token) as token_df from counted) f) w
), named as materialized (
    select d.id as document_id, {{name_weight}} * w.idf as worth
    from (select word, idf from weights where exact_match
          union all
          select word_query(replace(question_name, ' ', space)), ln(1 + size)
          from corpus
          cross join (select left(lower(normalize(btrim(:query, E' \t\n"'), NFKC)), {{name_letters}}) as question_name) q
          cross join unnest(case when strpos(question_name, ' ') > 0 then array[' ', '_', '-'] else array[' '] end) space
          where length(question_name) > 1 and not exists (select from weights where exact_match and lexeme = question_name)) w
    cross join lateral (
        select id from documents d
        where d.names @@ w.word and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
        limit {{named_documents}}) d
), phrases as materialized (
    select c.id, t.phrase
    from unnest(:phrases::text[]) t (phrase)
    cross join lateral (
        select c.id, concat_ws(' ', c.title, c.heading, c.content) as body
        from chunks c
        where c.lexemes @@ phrase_query(t.phrase, :visible::integer[])
          and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[])) and {{matches}}
        limit {{phrase_candidates}}) c
    where strpos(phrased(c.body), phrased(t.phrase)) > 0
), first as (
    select id
    from (select id, greatest(sum(worth) filter (where not prefix_match), max(worth) filter (where prefix_match)) as worth
          from (select c.id, w.family, w.prefix_match, c.bm25 * w.idf as worth
                from matches c join weights w using (lexeme) where w.looked_for and {{matches}}
                union all
                select c.id, w.family, w.prefix_match, bm25(ts_rank(array[1, 1, 1, 1]::real[], c.lexemes, w.word), c.tokens, corpus.tokens) * w.idf
                from corpus cross join weights w
                cross join lateral (
                    select c.id, c.lexemes, c.tokens
                    from chunks c
                    where c.lexemes @@ w.word
                      and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[])) and {{matches}}
                    limit {{max_common}}) c
                where w.looked_for and w.share is not null) c
          group by id, family) f
    group by id
    order by sum(worth) desc, id
    limit {{candidates_per_hit}} * {{limit}}
), candidates as (
    select id from first
    union
    select c.id from named n join chunks c on c.document_id = n.document_id and c.ordinal < {{leading_chunks}}
    where (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[])) and {{matches}}
    union
    select id from phrases
    union
    select chunk_id from vector_arm
), scored as (
    select c.id, c.document_id, c.ordinal, s.score,
           s.exact_match + coalesce((select sum(n.worth) from named n where n.document_id = c.document_id), 0)
           + (select count(*) from phrases p where p.id = c.id) * {{phrase_worth}} as exact_match
    from corpus cross join candidates a
    cross join lateral (select * from chunks c where c.id = a.id offset 0) c
    cross join lateral (
        select coalesce(sum(worth), 0) as score, coalesce(sum(exact_match), 0) as exact_match
        from (select greatest(sum(w.idf * f.worth) filter (where not w.prefix_match), max(w.idf * f.worth) filter (where w.prefix_match)) as worth,
                     sum(w.idf) filter (where w.exact_match and f.worth is not null) as exact_match
              from weights w
              cross join lateral (
                  select bm25(ts_rank(array[1, 1, 1, 1]::real[], c.lexemes, w.word), c.tokens, corpus.tokens) as worth offset 0) f
              where w.n > 0
              group by w.family) f) s
), placed as (
    select s.*, d.path, d.source_id, row_number() over (order by s.exact_match desc, s.score desc, d.path, d.source_id, s.ordinal) as place
    from scored s join documents d on d.id = s.document_id
)
select p.id,
       coalesce(nullif(1 - (select v.embedding <=> :vector::{type} from {vectors} v where v.chunk_id = p.id limit 1), 'NaN'), 0)
           as similarity,
       p.score, p.exact_match,
       (select coalesce(sum(case when spaced(lexeme) <> ' ' then idf when n > 0 then idf / 2 end), 0)
        from weights where not prefix_match) as max_bm25,
       p.id in (select chunk_id from vector_arm) as in_vector_arm, p.document_id,
       exists (select from weights where n > 0 and not looked_for) as some_words_skipped,
       (select array_agg(token) from weights where token_df = 0 and not prefix_match) as unknown
from placed p
where (p.place <= {{limit}} and (p.score > 0 or p.exact_match > 0)) or p.id in (select chunk_id from vector_arm)
order by p.path, p.source_id, p.ordinal;

-- name: nearest_ids
-- The nearest chunks through the index, within rank_words. Only for those who may see every collection.
select chunk_id
from (select chunk_id, embedding <=> :vector::{type} as distance
      from {vectors}
      order by {nearest}
      limit {{scan}}) n
where :permitted::integer[] is null
order by distance
limit {{limit}};

-- name: given_ids
-- Chunks that the caller found already, within rank_words.
select unnest(:vector_arm::bigint[]) as chunk_id;

-- name: corpus_of_all
-- How many chunks there are, and how long they are in the mean, within rank_words. For who may see every collection.
select coalesce((select chunks from corpus), (select count(*) from chunks)) as size,
       coalesce((select tokens from corpus), (select avg(tokens) from (select tokens from chunks limit {{sample_chunks}}) s)) as tokens
where :visible::integer[] is null

-- name: corpus_of_visible
-- The same of those collections that a limited key may see.
select size, tokens from permitted_corpus(:visible::integer[])

-- name: idf_of_words
-- Each word of a question, as its lexemes in all languages, with its idf = ln(1 + (N - n + 0.5) / (n + 0.5)). A pair of
-- letters that stands nowhere is none: it goes from one word to the next.
select lexemes, ln(1 + (size - n + 0.5) / (n + 0.5))
from (select array_agg(t.lexeme) as lexemes, min(c.size) as size, sum(f.n) as df,
             least(sum(f.n) + min(t.stopped) * min(c.size), min(c.size)) as n
      from (select case when :permitted::integer[] is null
                        then coalesce((select chunks from corpus), (select count(*) from chunks))
                        else (select size from permitted_corpus(:permitted::integer[])) end as size) c
      cross join question_words(:query, :permitted::integer[]) t
      cross join lateral (
          select coalesce(
              t.share * c.size,
              (select count(*) from chunks c
               where c.lexemes @@ t.word
                 and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[])))) as n) f
      where not t.prefix_match
      group by t.token) w
where df > 0 or spaced(lexemes[1]) <> ' ';

-- name: read_lexemes
-- What texts are found by, each in the language of its chunk, in the texts' order.
select tsvector_to_array(lexemes_of(c.language, t.body))
from unnest(:chunk_ids::bigint[], :texts::text[]) with ordinality as t (chunk_id, body, place)
join chunks c on c.id = t.chunk_id
where :permitted::integer[] is null or c.collection_id = any(:permitted::integer[])
order by t.place;
