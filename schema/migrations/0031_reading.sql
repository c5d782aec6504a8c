-- How a document was read: what of its file did not arrive, in a sentence (empty: nothing is known to lack); how many of
-- the file's characters stand before the text (null: they are not the text's, as in a PDF, or it was stored before this
-- migration), in which parts of the text a line end is two characters of the file, and where its pages begin.

--
-- A file of a folder that is none we read, or is empty, is skipped: no failure.

alter table documents
    add column incomplete text not null default '',
    add column file_offset integer,
    add column crlf int4multirange not null default '{}',
    add column pages integer[];

create index documents_incomplete on documents (source_id) where incomplete <> '';

alter table ledger drop constraint ledger_state_check;
alter table ledger add constraint ledger_state_check check (state in ('ok', 'failed', 'skipped'));
create index ledger_skipped on ledger (source_id, folder) where state = 'skipped';
