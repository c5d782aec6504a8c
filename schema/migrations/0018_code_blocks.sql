-- Where a document's fenced code blocks are, as the reader of Markdown finds them: what is in one is not quoted as a
-- sentence. Null: stored before this migration, until a sync reads the file again.

alter table documents add column code_blocks int4multirange;
