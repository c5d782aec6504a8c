-- Metadata as lists of many documents show it: null where it is longer than 128 KiB, which a document's own page still
-- shows. A thousand bytes are no more than that however well they were compressed, and need not be unpacked to know it.
create or replace function shown(metadata jsonb) returns jsonb language sql stable parallel safe
return case when pg_column_size(metadata) <= 1000 or octet_length(metadata::text) <= 131072 then metadata end;
