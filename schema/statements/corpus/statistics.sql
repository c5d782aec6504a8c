-- name: clean_lexemes
-- Lexemes that wait for their index go into it.
select clean_lexemes();

-- name: analyze_tables!
-- Statistics for the planner, and of how common words are.
analyze documents, chunks, ledger, {vectors};
