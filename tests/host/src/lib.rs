//! Both drivers on fakes
