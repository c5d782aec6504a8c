-- How common words are in each collection: a key that is limited to some is answered by these alone, so that no score
-- tells what stands in others. Functions whose parameters change are dropped here and defined again by functions/*.sql, in
-- the same start.

create table collection_statistics (
    collection_id integer primary key references collections(id) on delete cascade,
    chunks bigint not null,
    tokens double precision not null
);
comment on table collection_statistics is
    'How many chunks a large collection has and how long they are in the mean, when its words were last counted; only while a key is limited to collections.';

create table collection_words (
    collection_id integer not null references collection_statistics(collection_id) on delete cascade,
    lexeme text not null,
    chunks double precision not null,
    primary key (lexeme, collection_id)
);
create index collection_words_collection on collection_words (collection_id);
comment on table collection_words is 'In how many of its chunks the common words of such a collection stand; one that is not here is rare enough to be counted.';

create table collection_languages (
    collection_id integer not null references collection_statistics(collection_id) on delete cascade,
    language regconfig not null,
    documents bigint not null,
    primary key (collection_id, language)
);
comment on table collection_languages is 'How many documents of such a collection are in each language.';

create index chunks_collection on chunks (collection_id);
create index documents_collection_language on documents (collection_id, language);
drop index documents_collection;

drop function if exists question_words(text);
drop function if exists phrase_query(text);
delete from functions where name in ('question_words', 'phrase_query');
