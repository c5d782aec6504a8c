-- The languages that documents are in, read from the index documents_language in as many steps as there are languages.
create or replace function spoken() returns setof regconfig language sql stable parallel safe rows 3
as $$
    with recursive found (language) as (
        (select language from documents order by language limit 1)
        union all
        select (select d.language from documents d where d.language > f.language order by d.language limit 1)
        from found f where f.language is not null
    )
    select language from found where language is not null
$$;
