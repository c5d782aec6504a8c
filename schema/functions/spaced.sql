-- The text without what stands in letters that have no spaces between words, or, in Hangul, words with their endings.
-- Of folded text.
create or replace function spaced(body text) returns text language sql immutable strict parallel safe
return case when octet_length(body) = length(body) then body else regexp_replace(body,
    '['
    '\u0e01-\u0e4f'                            -- Thai
    '\u0e81-\u0ecf'                            -- Lao
    '\u1000-\u103f'                            -- Burmese
    '\u1780-\u17d3'                            -- Khmer
    '\u3005-\u3007'                            -- ideographic repetition, closing and zero marks
    '\u3041-\u3096\u309d-\u309f'               -- Hiragana
    '\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff'  -- Katakana
    '\u3400-\u4dbf\u4e00-\u9fff'               -- Chinese characters
    '\uac00-\ud7a3'                            -- Hangul
    '\uf900-\ufaff\U00020000-\U0003ffff'       -- rarer Chinese characters
    ']+',
    ' ', 'g') end;
