import { describeTenYears } from '../agent/describe-ten-years.ts'

const devices = Number(process.env['LEAFKEEPER_DEVICES'] ?? 40)

for (let seed = 1; seed <= devices; seed += 1) describeTenYears(seed)
