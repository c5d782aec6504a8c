-- The languages of these collections' documents, each with the part of them that it has. Which there are is read from the
-- index documents_collection_language in as many steps as there are; large collections were counted, the others are now.
create or replace function permitted_languages(permitted integer[]) returns table (language regconfig, share double precision)
language sql stable strict parallel safe rows 3
as $$
    with recursive found (collection_id, language) as (
        select p.id, (select d.language from documents d where d.collection_id = p.id order by d.language limit 1)
        from unnest(permitted) p (id)
        union all
        select f.collection_id, (select d.language from documents d
                                 where d.collection_id = f.collection_id and d.language > f.language
                                 order by d.language limit 1)
        from found f where f.language is not null
    ), counted as (
        select k.language, sum(k.documents) as documents
        from unnest(permitted) p (id)
        cross join lateral (
            select l.language, l.documents from collection_languages l where l.collection_id = p.id
            union all
            select d.language, count(*) from documents d
            where d.collection_id = p.id
              and not exists (select from collection_statistics s where s.collection_id = p.id)
            group by d.language) k
        group by k.language
    )
    select f.language, coalesce(c.documents / (select sum(documents) from counted), 0)::double precision
    from (select distinct language from found where language is not null) f left join counted c on c.language = f.language
$$;
