import { describeModule } from './describe-module.ts'

describeModule('nss-softokn')
