import { describeTenYears } from './describe-ten-years.ts'

// More devices: npm run test:endurance.
describeTenYears(1)
