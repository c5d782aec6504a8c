-- Vectors in full precision, and an index over signs alone, beside halfvec.

alter table spaces drop constraint spaces_storage_check;
alter table spaces add constraint spaces_storage_check check (storage in ('halfvec', 'vector', 'bit'));

-- Of spaces that store full precision.
alter table kept_vectors alter column embedding drop not null;
alter table kept_vectors add column full_embedding vector;
alter table kept_vectors add constraint kept_vectors_one check (num_nonnulls(embedding, full_embedding) = 1);
