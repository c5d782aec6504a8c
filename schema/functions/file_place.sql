-- Where a place of a document's text is in its file, in the file's characters; null where these are not the text's.
-- A function that PostgreSQL writes into the statement, so that the text is looked at only where it must be.
create or replace function file_place(stored text, file_offset integer, crlf int4multirange, place integer) returns integer
language sql immutable parallel safe
return case when crlf = '{}' then file_offset + place else file_offset + place + crlf_before(stored, crlf, place) end;
