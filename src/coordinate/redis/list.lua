-- A part of all leases. ARGV: where the last part ended, the keys, the most bytes of a lease.
-- Answers where this part ends, and of each lease its key, for how many ms it lasts, and the beginning of what is there.
local part = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)
local leases = {}
for _, key in ipairs(part[2]) do
    local lease = redis.pcall('GETRANGE', key, 0, ARGV[3])
    leases[#leases + 1] = {key, redis.call('PTTL', key), type(lease) == 'string' and lease or ''}
end
return {part[1], leases}
