import { describeModule } from './describe-module.ts'

describeModule('p11-kit-client')
