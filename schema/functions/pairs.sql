-- What `spaced` leaves out, as pairs of neighbouring letters; a letter that stands alone is itself. Of folded text.
-- 16383 is the last place that a tsvector can name.
create or replace function pairs(body text) returns tsvector language sql immutable strict parallel safe
return (
    select coalesce(string_agg(pair || ':' || least(place, 16383), ' '), '')::tsvector
    from (select letter || coalesce(lead(letter) over run, '') as pair,
                 lead(letter) over run is null and at > 1 as over,
                 row_number() over (order by no, at) as place
          from regexp_matches(body,
                   -- the letters of `spaced`
                   '['
                   '\u0e01-\u0e4f\u0e81-\u0ecf\u1000-\u103f\u1780-\u17d3\u3005-\u3007\u3041-\u3096\u309d-\u309f'
                   '\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff'
                   '\U00020000-\U0003ffff'
                   ']+',
                   'g') with ordinality as r (run, no),
               regexp_split_to_table(r.run[1], '') with ordinality as l (letter, at)
          window run as (partition by no order by at)) p
    where not over
);
