-- What a generation's similarities should count in hybrid search, as measured on the corpus, and over how many vectors it
-- was; null: not measured, they count as those of the bundled model.
alter table generations add column vector_weight double precision;
alter table generations add column weighed_vectors bigint;
