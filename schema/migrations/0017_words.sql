-- Names in the field's words. Functions whose columns or names change are dropped here and defined again by
-- functions/*.sql, in the same start; what depends on a function depends on it whatever its name.

alter table ledger rename column recipe to processing_fingerprint;

alter table kept_vectors rename to retained_vectors;
alter table retained_vectors rename column kept_at to retained_at;
alter table retained_vectors rename constraint kept_vectors_one to retained_vectors_one;
alter table retained_vectors rename constraint kept_vectors_pkey to retained_vectors_pkey;
alter table retained_vectors rename constraint kept_vectors_space_id_fkey to retained_vectors_space_id_fkey;
alter index kept_vectors_age rename to retained_vectors_age;

alter function beginnings(regconfig, text) rename to prefix_terms;
alter function shortened(regconfig, text) rename to prefix_stems;
drop function question_words(text);
delete from functions where name in ('beginnings', 'shortened', 'question_words');
