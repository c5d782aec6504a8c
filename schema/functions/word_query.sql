-- A lexeme as a query. One letter of a script without spaces stands for every pair that it begins.
create or replace function word_query(lexeme text) returns tsquery language sql immutable strict parallel safe
return ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''''
    || case when length(lexeme) = 1 and spaced(lexeme) = ' ' then ':*' else '' end)::tsquery;
