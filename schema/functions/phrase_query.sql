-- What the chunks with a phrase all have: each of its words, in one of the languages. Null where it is of stop words.
create or replace function phrase_query(phrase text) returns tsquery language sql stable parallel safe
as $$
    select string_agg('(' || every || ')', ' | ')::tsquery
    from (select string_agg(word_query(l.lexeme)::text, ' & ') as every
          from spoken() s (language)
          cross join lateral (select lexeme from unnest(to_tsvector(s.language, prefix_stems(s.language, parted(spaced(folded(phrase))))))
                              union
                              select lexeme from unnest(pairs(folded(phrase)))) l
          group by s.language) w
$$;
