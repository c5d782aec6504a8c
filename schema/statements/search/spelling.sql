-- name: unknown_words
-- Those of some words that no chunk has, of those that may be seen.
select w.word
from unnest(:words::text[]) with ordinality w (word, place)
where not exists (
    select from question_words(w.word, :permitted::integer[]) q
    join chunks c on c.lexemes @@ q.word
    where not q.prefix_match and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[])))
order by w.place;

-- name: vocabulary_version
-- What tells that the words are others: the newest postings, or, where there are none, the newest chunk.
select coalesce((select extract(epoch from max(built_at))::text from posting_segments where :permitted::integer[] is null),
                (select max(id)::text from chunks
                 where :permitted::integer[] is null or collection_id = any(:permitted::integer[])), '');

-- name: posted_lexemes
-- All lexemes that have postings.
select distinct lexeme from posting_lists where :permitted::integer[] is null;

-- name: lexemes_of_chunks
-- The lexemes of the first so many chunks that may be seen.
select distinct l.lexeme
from (select lexemes from chunks
      where :permitted::integer[] is null or collection_id = any(:permitted::integer[])
      order by id limit :limit) c
cross join lateral unnest(c.lexemes) l;

-- name: texts_with_lexemes
-- Some chunks with each lexeme.
select c.body
from unnest(:lexemes::text[]) l (lexeme)
cross join lateral (
    select concat_ws(E'\n', c.title, c.heading, c.content) as body
    from chunks c
    where c.lexemes @@ word_query(l.lexeme)
      and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))
    limit :per_lexeme) c;
