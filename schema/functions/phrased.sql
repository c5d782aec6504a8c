-- The text as phrases are looked for in it: words in lower case between single spaces, each letter of a script without
-- spaces as a word. The Thai among these, \u0e31-\u0e4f, has marks that are neither letters nor digits.
create or replace function phrased(body text) returns text language sql immutable strict parallel safe
return ' ' || regexp_replace(
    case when octet_length(body) = length(body) then lower(body) else regexp_replace(lower(folded(body)),
        -- the letters of `spaced`
        '(['
        '\u0e01-\u0e4f\u0e81-\u0ecf\u1000-\u103f\u1780-\u17d3\u3005-\u3007\u3041-\u3096\u309d-\u309f'
        '\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff'
        '\U00020000-\U0003ffff'
        '])',
        ' \1 ', 'g') end,
    '[^[:alnum:]\u0e31-\u0e4f]+', ' ', 'g') || ' ';
