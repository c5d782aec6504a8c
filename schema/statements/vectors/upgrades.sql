-- name: begin_upgrade!
-- A space is being filled in the background.
insert into upgrades (space_id, state) values (:space_id, 'filling')
on conflict (space_id) do update set state = 'filling', reason = '', tried = default, changed_at = now();

-- name: end_upgrade!
-- What became of it.
update upgrades set state = :state, reason = :reason, tried = :tried, changed_at = now() where space_id = :space_id;

-- name: record_upgrade_speed!
-- How fast the space is filled.
update upgrades set chunks_per_second = :speed where space_id = :space_id;

-- name: find_upgrade
-- What became of the upgrade to a space.
select state, reason, tried from upgrades where space_id = :space_id;

-- name: last_upgrade
-- The one that changed last.
select s.provider, s.model, s.dimensions, s.shortened, s.query_prefix, s.document_prefix, s.storage,
       u.state, u.reason, u.chunks_per_second, u.changed_at
from upgrades u join spaces s on s.id = u.space_id
order by u.changed_at desc
limit 1;

-- name: corpus_extent
-- Another whenever the texts that are stored have changed: another text is another chunk.
select count(*), coalesce(max(id), 0) from chunks;
