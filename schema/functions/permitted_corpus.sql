-- How many chunks these collections have, and how long they are in the mean. Large collections were counted, the others are
-- now.
create or replace function permitted_corpus(permitted integer[]) returns table (size double precision, tokens double precision)
language sql stable strict parallel safe rows 1
as $$
    select coalesce(sum(k.chunks), 0)::double precision,
           coalesce(sum(k.chunks * k.tokens) / nullif(sum(k.chunks), 0), 1)::double precision
    from unnest(permitted) p (id)
    cross join lateral (
        select s.chunks, s.tokens from collection_statistics s where s.collection_id = p.id
        union all
        select count(*), avg(c.tokens)::double precision from chunks c
        where c.collection_id = p.id and not exists (select from collection_statistics s where s.collection_id = p.id)
        having count(*) > 0) k
$$;
