import { describeModule } from './describe-module.ts'

describeModule('softhsm')
