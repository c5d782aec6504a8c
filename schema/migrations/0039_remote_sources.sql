-- Sources whose files are not on this disk: their root is a URL.
alter table sources drop constraint sources_kind_check;
alter table sources add constraint sources_kind_check check (kind in ('folder', 'pushed', 'remote'));
