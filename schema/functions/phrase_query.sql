-- What the chunks with a phrase all have: each of its words, in one of the languages of the collections `visible`, or,
-- with null, of all. Null where it is of stop words.
create or replace function phrase_query(phrase text, visible integer[]) returns tsquery language sql stable parallel safe
as $$
    select string_agg('(' || every || ')', ' | ')::tsquery
    from (select string_agg(word_query(l.lexeme)::text, ' & ') as every
          from (select language from spoken() language where visible is null
                union all
                select p.language from permitted_languages(visible) p) s
          cross join lateral (select lexeme from unnest(to_tsvector(s.language, prefix_stems(s.language, parted(spaced(folded(phrase))))))
                              union
                              select lexeme from unnest(pairs(folded(phrase)))) l
          group by s.language) w
$$;
