-- A space without width does not split the word that it stands in. The function is that of functions/; the lexemes of what
-- has such a space are made anew, and postings, which were made of the old ones, by the next sync.

create or replace function folded(body text) returns text language sql immutable strict parallel safe
return case
    when octet_length(body) = length(body) then body
    when body ~ '[\u00ad\u0300-\u036f\u1100-\u11ff\u2000-\u200f\u2060\ufeff\u3099\u309a\ufb00-\ufb06\uff00-\uffef]'
        then translate(normalize(body, NFKC), U&'\00AD\200B\200C\200D\200E\200F\2060\FEFF', '')
    else body
end;

do $$
begin
    update chunks set content = content
    where concat_ws(' ', content, heading, title) ~ '[\u200b-\u200f\u2060\ufeff]';
    if found then
        delete from posting_lists;
        delete from posting_segments;
    end if;
end
$$;
