-- Renews leases. KEYS: how long leases last here, and the leases. ARGV: that time in ms, and their tokens.
-- Answers of each, in their order, whether it was still there.
local lives, kept = ARGV[1], {}
for lease = 2, #KEYS do
    kept[lease - 1] = 0
    if redis.pcall('GETRANGE', KEYS[lease], 0, 15) == ARGV[lease] then
        kept[lease - 1] = redis.call('PEXPIRE', KEYS[lease], lives)
    end
end
redis.call('SET', KEYS[1], lives, 'PX', lives)
return kept
