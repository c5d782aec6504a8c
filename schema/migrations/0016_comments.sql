-- What each table is for, and what the name of a column leaves open: for whoever looks with \d+, and for schema.sql.
comment on table collections is 'Named sets of documents that are searched, filtered and permitted as one.';
comment on table sources is 'Roots that are crawled into a collection; for pushed documents one for each collection that has any.';
comment on column sources.kind is 'the root of a pushed one is no folder';
comment on column sources.synced_at is 'when a sync last went through all of it without a problem';

comment on table documents is 'One row a file; it is its source and path that it is known by.';
comment on column documents.names is 'what it can be called by in a search';

comment on table chunks is 'Slices of documents, searched by words here and by vectors in the tables of generations.';
comment on column chunks.collection_id is 'its document''s, so that a search need not join';
comment on column chunks.title is 'its document''s, for the lexemes'' sake; null where the heading begins with it';
comment on column chunks.start_at is 'offset of its first letter in documents.text';
comment on column chunks.hash is 'of the text as embedded';

comment on table ledger is 'What the last sync knew of each file.';
comment on column ledger.document_id is 'null while nothing of it is stored';
comment on column ledger.recipe is 'how the document was made; made by another one, it is made anew';
comment on column ledger.folder is 'path without its last part';

comment on table folders is 'Every folder that the ledger names.';
comment on column folders.digest is 'of its listing, while the ledger has just that; null once anything wrote there';

comment on table spaces is 'Embedding spaces: vectors of two are never compared.';
comment on column spaces.shortened is 'whether the model is asked for fewer dimensions than it has';

comment on table generations is
    'All vectors of the corpus in one space. Those of generation N stand in a table vectors_N and its segments vectors_N_sM.';
comment on column generations.measured is 'what was measured before it was to become active';
comment on column generations.m is 'what its index was tuned to, as the next two; null: as the settings say';

comment on table runs is 'Executions of a flow.';
comment on column runs.report is 'its counts, tokens, cost and problems';

comment on table kept_vectors is
    'Vectors that are paid for and that no chunk has now, by the hash of the text as embedded, for a limited time.';
comment on column kept_vectors.full_embedding is 'of spaces that store full precision';

comment on table rate_limits is 'What workers that share a key and a model have used of its limits.';
comment on column rate_limits.state is 'the limiter''s own numbers';

comment on table index_costs is
    'What putting vectors under an HNSW index took: from these the next sync reckons which way is cheaper.';
comment on column index_costs.vectors is 'how many were put under it';
comment on column index_costs.indexed is 'how many it had then';

comment on table index_measurements is 'What the index of a generation was measured to do.';
comment on column index_measurements.sampled is 'measured on a sample of the vectors, not on the index in use';

comment on table common_words is 'How common the most common words are; one that is not here is rare enough to be counted.';
comment on column common_words.share is 'part of all chunks that have it';
comment on table corpus is 'One row: how many chunks there are and how long they are in the mean, when words were last counted.';
comment on column corpus.measured_at is '-infinity: words changed since';
comment on table languages is 'The part of all documents that each language has.';

comment on table api_keys is
    'Keys of the API. A key is 256 random bits, so its SHA-256 says nothing about it; the key itself is stored nowhere. '
    'A revoked key stays: once there was a key, the API is never open again.';
comment on column api_keys.collections is 'ids of those that may be seen; null: all';

comment on table traces is 'How each answer was found, kept for a time.';
comment on column traces.permitted is 'ids of the collections that whoever asked may see; null: all';

comment on table pushes is
    'What was pushed, as it came. What became of it stands in the ledger and nowhere else: no row there, it waits.';
comment on column pushes.id is 'the document''s from the beginning';

comment on table functions is 'Which text of each function of functions/*.sql this database has.';
comment on column functions.digest is 'SHA-256 of the file';
comment on column functions.version is 'of the pgfolio that defined it';
